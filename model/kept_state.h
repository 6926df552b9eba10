/*
 * kept_state.h - the file in which a run keeps its hidden states between layers, so that a run that
 * was cut off goes on where it was.
 *
 * FOLDER/baleen-<32 hexadecimal digits>.state: the digits are the run's: a hash of model, policy
 * and tokens. Another model or text has another file; the two models of a comparison have one each.
 */
#ifndef BL_MODEL_KEPT_STATE_H
#define BL_MODEL_KEPT_STATE_H

#include "model/embed.h"
#include "model/op_router.h"

/* A run that has not begun: sequences of tokens before a model. All borrowed. */
typedef struct bl_run {
    const bl_weights *weights;
    const bl_router_policy *policy; /* [n_layers], or NULL */
    const int32_t *tokens;          /* [n_seqs][n_positions] */
    const uint32_t *start;          /* [n_seqs][n_positions] as in bl_state, or NULL */
    uint32_t n_seqs, n_positions;
    const bl_room *room; /* NULL for zeroed */
    bl_hash128 id;       /* of the state; zero where nothing is kept */
} bl_run;

typedef struct bl_kept_state {
    const char *folder;
    bool resume; /* go on from what is there */
    bool force;  /* or throw it away; neither: a file that is there is an error */
} bl_kept_state;

/*
 * What makes a run this one: the checkpoint's fingerprint and the routing policy, with its variants.
 */
BL_MUST_USE bl_status bl_run_id(bl_hash128 *out, const bl_weights *weights,
                                const bl_router_policy *policy, struct bl_err *err);

/* The embedding of the tokens. The caller releases *out. */
BL_MUST_USE bl_status bl_run_begin(bl_state *out, const bl_run *run, struct bl_err *err);

/* Write the state to path, in place of what is there. */
BL_MUST_USE bl_status bl_state_keep(const bl_state *state, const char *path, struct bl_err *err);

/*
 * The same as bl_run_begin(), and kept at once, so that a folder that cannot be written costs no
 * time; or what the run's file holds. *path: where it is kept (bl_forward's save_as), to be
 * freed. Fails with BL_E_USAGE when a file is there and neither resume nor force is set, with
 * BL_E_FORMAT when it is damaged.
 */
BL_MUST_USE bl_status bl_kept_state_begin(bl_state *out, char **path, const bl_run *run,
                                          const bl_kept_state *kept, struct bl_err *err);

#endif
