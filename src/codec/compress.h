/* One front for all layer compressions. */
#ifndef CODEC_COMPRESS_H
#define CODEC_COMPRESS_H

#include "codec/io.h"

enum compression {
	COMPRESSION_NONE, /* "uncompressed" */
	COMPRESSION_GZIP,
	COMPRESSION_ZSTD,
	COMPRESSION_ESTARGZ, /* written as not supported yet; read as gzip */
	COMPRESSION_XZ,      /* read only */
	COMPRESSION_BZIP2,   /* read only */
	COMPRESSION_UNKNOWN,
};

const char *compression_name(enum compression c);
/* "uncompressed" gzip estargz zstd; false otherwise. */
bool compression_parse(struct str name, enum compression *ret);
/* By magic bytes (give at least 10 when there are as many). NONE when none matches. */
enum compression compression_detect(struct str head);
/* Of a layer media type, OCI or Docker; UNKNOWN when it is no layer. */
enum compression compression_of_media_type(struct str media_type);
/* Plain bytes of a compressed stream; takes src. */
struct err *decompress_reader(enum compression c, struct reader *take_src,
			      struct reader **ret) ERR_RESULT;
/* Peeks at the stream to find its compression, then as above. */
struct err *decompress_auto(struct reader *take_src, struct reader **ret,
			    enum compression *ret_c) ERR_RESULT;
/* level -1 is the codec's default. dst is not taken. zstd uses threads but gives the
 * same bytes at any core count. */
struct err *compress_writer(struct ctx *ctx, enum compression c, int level, struct writer *dst,
			    struct writer **ret) ERR_RESULT;

#endif
