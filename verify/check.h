/*
 * check.h - is one checkpoint whole? Every tensor that its family's table (formats/arch) expects
 * under its configuration is there, none lies where the configuration has no place for it, every
 * value is finite, and the files beside the weights agree (check_side_files.h). (Wrong shapes, and layers or experts past the last, are refused when a
 * checkpoint is opened.)
 *
 * Values are decoded in pieces of bounded memory. Findings are sentences, in a fixed order.
 */
#ifndef BL_VERIFY_CHECK_H
#define BL_VERIFY_CHECK_H

#include "base/progress.h"
#include "formats/ckpt/ckpt.h"

typedef enum bl_finding_kind {
    BL_FINDING_CHECKSUM, /* an entry of a .bln that is damaged: values are not looked at then */
    BL_FINDING_MISSING,
    BL_FINDING_UNEXPECTED, /* of the family, but not in a layer of this kind */
    BL_FINDING_VALUE,      /* not finite, or not decodable */
    BL_FINDING_SIDE_FILE,  /* a side file that contradicts another or the weights */
    BL_FINDING_SUM,        /* a file that is not the one a list of sums names (check_sums.h) */
    BL_FINDING_NOTE        /* no fault: a tensor the family does not know, MTP layers left out */
} bl_finding_kind;

typedef struct bl_finding {
    bl_finding_kind kind;
    char *text; /* one sentence */
} bl_finding;

typedef struct bl_check_result {
    size_t n_tensors; /* checked */
    uint64_t n_values;
    size_t n_faults;        /* findings other than notes */
    size_t n_tensor_faults; /* of these, in tensors: what a run of the network would meet */
    size_t n_findings, n_room;
    bl_finding *finding; /* [n_room], n_findings of them */
} bl_check_result;

typedef struct bl_check_options {
    int n_threads;
    bool structure_only;   /* read no values, but for the checksums of a .bln */
    bl_progress *progress; /* gets stored bytes as they are done, those of a .bln twice; or NULL */
} bl_check_options;

/*
 * BL_OK when the check could be made, whatever it found: look at n_faults. The caller releases
 * *out. Fails with BL_E_IO, BL_E_NOMEM, BL_E_CANCELLED, or BL_E_USAGE without a configuration.
 */
BL_MUST_USE bl_status bl_check_run(bl_check_result *out, const bl_ckpt *ckpt,
                                   const bl_check_options *options, struct bl_err *err);
void bl_check_release(bl_check_result *result);

#endif
