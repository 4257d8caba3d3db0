/* Every named bound on what comes from outside. Bytes unless said otherwise. */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H

#define KIB ((size_t)1024)
#define MIB ((size_t)1024 * KIB)
#define GIB ((size_t)1024 * MIB)

/* gRPC: the message size both sides of the original use; its session servers in
 * clients receive at most 4 MiB, so senders chunk at 3 MiB. */
#define LIMIT_GRPC_MESSAGE (16 * MIB)
#define LIMIT_GRPC_CHUNK (3 * MIB)
#define LIMIT_GRPC_HEADERS (1 * MIB) /* long exclude lists travel as metadata */
#define LIMIT_GRPC_STREAMS 10000     /* concurrent, a connection */

#define LIMIT_PATH 4096
#define LIMIT_FILE_NAME 255
#define LIMIT_XATTR_VALUE (64 * KIB)
#define LIMIT_XATTRS 1024 /* a file */

#define LIMIT_MANIFEST (4 * MIB)
#define LIMIT_DESCRIPTORS 50000   /* in a manifest or index */
#define LIMIT_FLAT_LAYERS 1000000 /* of a result, its merges taken apart */
#define LIMIT_FLAT_DEPTH 500      /* merges in merges */
#define LIMIT_IMAGE_CONFIG (8 * MIB)
#define LIMIT_JSON_DEPTH 100
#define LIMIT_TOML_FILE (4 * MIB)
#define LIMIT_YAML_VALUES 200000 /* of one file */
#define LIMIT_CDI_FILE (4 * MIB)
#define LIMIT_CDI_FILES 1000 /* of one directory */
#define LIMIT_DOCKERFILE (16 * MIB)
#define LIMIT_DOCKERFILE_MEMORY (1 * GIB) /* what one may take, expanded and planned */
#define LIMIT_PASSWD_FILE (10 * MIB)
#define LIMIT_FILESYNC_ENTRIES 4000000 /* of one transferred tree */
#define LIMIT_FILESYNC_METADATA (512 * MIB)
#define LIMIT_SECRET 512000
#define LIMIT_LLB_OPS 200000
#define LIMIT_POLICY_QUESTIONS 64 /* of one definition at a time */
#define LIMIT_ERROR_TEXT (64 * KIB)
#define LIMIT_TAR_PAX (1 * MIB)
#define LIMIT_HTTP_BODY (16 * MIB)     /* of a JSON or error answer kept in memory */
#define LIMIT_HTTP_HEADERS (256 * KIB) /* of one answer */
#define LIMIT_URL (16 * KIB)
#define LIMIT_SOURCE_LABEL (4 * KIB) /* repositories that a blob is noted to be in */
#define LIMIT_CHALLENGE (64 * KIB)   /* of a WWW-Authenticate header */
#define LIMIT_CAPTURE 2000           /* requests of a step that are recorded */
#define LIMIT_PROXY_CONNS 256        /* of a step, at once */
#define LIMIT_TLS_ROOTS (16 * MIB)   /* PEM of private authorities */

#endif
