/* gzip (RFC 1952). Readers take many-member files. The writer cuts its input in fixed
 * 1 MiB pieces, each a gzip member of its own, made in parallel by libdeflate; the
 * bytes depend on input and level only, never on cores or timing. */
#ifndef CODEC_GZIP_H
#define CODEC_GZIP_H

#include "codec/io.h"

/* Inflates with ISA-L. Takes src. Detects truncation and bad CRC (DATA_LOSS). */
struct reader *gzip_reader(struct reader *take_src);
/* Does not take dst (and neither finishes nor closes it). level -1 is the default 6;
 * 0..9. Tasks run on ctx's pool; at most 2 pieces per CPU are in flight. */
struct writer *gzip_writer(struct ctx *ctx, struct writer *dst, int level);

#endif
