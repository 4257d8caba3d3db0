/* The decoders behind decompress_reader(). All take src and report broken input as DATA_LOSS. */
#ifndef CODEC_DECOMPRESS_H
#define CODEC_DECOMPRESS_H

#include "codec/io.h"

struct reader *zstd_reader(struct reader *take_src);
struct reader *xz_reader(struct reader *take_src);
struct reader *bzip2_reader(struct reader *take_src);
/* level 0 is the default, as for libzstd. dst is not taken. */
struct writer *zstd_writer(struct ctx *ctx, struct writer *dst, int level);

#endif
