#include "grpc/internal.h"
#include "grpc/message.h"

#define SERVING GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING_STATUS_SERVING
#define UNKNOWN                                                                                    \
	GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING_STATUS_SERVICE_UNKNOWN

struct err *health_check(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	SCOPED_ARENA(a);
	Grpc__Health__V1__HealthCheckRequest *q;
	Grpc__Health__V1__HealthCheckResponse r = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

	(void)arg;
	TRY(grpc_recv_request(s, ctx, &a, &grpc__health__v1__health_check_request__descriptor, &q));
	if (*q->service)
		return err_new(ERR_NOT_FOUND, "unknown service");
	r.status = SERVING;
	return grpc_send_msg(s, ctx, &r);
}

struct err *health_watch(struct ctx *ctx, struct grpc_stream *s, void *arg)
{
	SCOPED_ARENA(a);
	Grpc__Health__V1__HealthCheckRequest *q;
	Grpc__Health__V1__HealthCheckResponse r = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
	int ready;

	(void)arg;
	TRY(grpc_recv_request(s, ctx, &a, &grpc__health__v1__health_check_request__descriptor, &q));
	r.status = *q->service ? UNKNOWN : SERVING;
	TRY(grpc_send_msg(s, ctx, &r));
	return ctx_poll(ctx, NULL, 0, -1, &ready);
}
