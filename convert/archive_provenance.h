/*
 * archive_provenance.h - what a .bln says of how it was made and of what. Internal to convert/.
 */
#ifndef BL_CONVERT_ARCHIVE_PROVENANCE_H
#define BL_CONVERT_ARCHIVE_PROVENANCE_H

#include "convert/archive.h"
#include "formats/bln/bln_writer.h"

/* The recipe and, if options->sha256, the SHA-256 of every source file, read on all threads. */
BL_MUST_USE bl_status bl_archive_put_provenance(bl_bln_writer *writer, const bl_container *hf,
                                                const bl_archive_options *options,
                                                struct bl_err *err);

#endif
