/*
 * flow.c - the only file that starts threads by itself. One lock guards the counters; calls to
 * next, make and take run outside of it.
 *
 * Considered: a parallel loop over batches with a barrier behind each (what this replaced: the slowest
 * item of a batch, and the writer behind it, kept everybody waiting); a reader that copies bytes into
 * the slots (another copy, and workers find them in a cold cache: here next() only asks the kernel
 * to begin); a queue for each worker (order would have to be restored behind them).
 */
#include "base/flow.h"

#include "base/alloc.h"
#include "base/cancel.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>

static atomic_uint failing_thread;

enum state { FREE, READY, MADE };

struct run {
    const bl_flow *flow;
    pthread_mutex_t lock;
    pthread_cond_t moved;
    enum state *state;    /* of each slot */
    uint64_t n_announced; /* items that next() has described */
    uint64_t n_claimed;   /* that a worker has begun, or is done with */
    uint64_t n_taken;
    uint64_t end; /* how many there are; UINT64_MAX until next() says so */
    /* The first item that failed; UINT64_MAX: none. Nothing behind it is begun or taken. */
    uint64_t failed;
    struct bl_err failure;
    int n_workers, next_worker;
};

/* The lock is held. */
static void remember_failure(struct run *r, uint64_t item, bl_status rc, const struct bl_err *err)
{
    if (item < r->failed) {
        r->failed = item;
        r->failure = *err;
        r->failure.status = rc;
    }
    pthread_cond_broadcast(&r->moved);
}

static bool is_over(const struct run *r, uint64_t item)
{
    return item >= r->end || item >= r->failed;
}

/* Describe one more item; false when there is nothing more to describe. The lock is held. */
static bool announce(struct run *r)
{
    uint64_t item = r->n_announced;
    size_t slot = (size_t)(item % r->flow->n_slots);
    struct bl_err err = { 0 };
    bool end = false;
    bl_status rc;

    if (is_over(r, item))
        return false;
    pthread_mutex_unlock(&r->lock);
    rc = bl_cancel_check(&err);
    if (rc == BL_OK)
        rc = r->flow->next(r->flow->context, slot, &end, &err);
    pthread_mutex_lock(&r->lock);
    if (rc != BL_OK) {
        remember_failure(r, item, rc, &err);
        return false;
    }
    if (end)
        r->end = item;
    else
        r->state[slot] = READY;
    r->n_announced += !end;
    pthread_cond_broadcast(&r->moved);
    return !end;
}

/* Prepare the next item that nobody has begun. There is one. The lock is held. */
static void make_one(struct run *r, int i_thread)
{
    uint64_t item = r->n_claimed++;
    size_t slot = (size_t)(item % r->flow->n_slots);
    struct bl_err err = { 0 };
    bl_status rc;

    pthread_mutex_unlock(&r->lock);
    rc = bl_cancel_check(&err);
    if (rc == BL_OK)
        rc = r->flow->make(r->flow->context, slot, i_thread, &err);
    pthread_mutex_lock(&r->lock);
    r->state[slot] = MADE;
    if (rc != BL_OK)
        remember_failure(r, item, rc, &err);
    pthread_cond_broadcast(&r->moved);
}

static void *read_ahead(void *context)
{
    struct run *r = context;

    pthread_mutex_lock(&r->lock);
    for (;;) {
        while (!is_over(r, r->n_announced) && r->n_announced - r->n_taken == r->flow->n_slots)
            pthread_cond_wait(&r->moved, &r->lock);
        if (!announce(r))
            break;
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

static void *work(void *context)
{
    struct run *r = context;
    int i_thread;

    pthread_mutex_lock(&r->lock);
    i_thread = r->next_worker++;
    for (;;) {
        while (!is_over(r, r->n_claimed) && r->n_claimed == r->n_announced)
            pthread_cond_wait(&r->moved, &r->lock);
        if (is_over(r, r->n_claimed))
            break;
        make_one(r, i_thread);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* Take the item that is next in order, and prepared. The lock is held. */
static void take_one(struct run *r)
{
    uint64_t item = r->n_taken;
    size_t slot = (size_t)(item % r->flow->n_slots);
    struct bl_err err = { 0 };
    bl_status rc;

    pthread_mutex_unlock(&r->lock);
    rc = bl_cancel_check(&err);
    if (rc == BL_OK)
        rc = r->flow->take(r->flow->context, slot, &err);
    pthread_mutex_lock(&r->lock);
    r->state[slot] = FREE;
    r->n_taken += rc == BL_OK;
    if (rc != BL_OK)
        remember_failure(r, item, rc, &err);
    pthread_cond_broadcast(&r->moved);
}

/* What the calling thread does: take in order, and whatever no other thread is there for. */
static void write_in_order(struct run *r, bool has_reader)
{
    for (;;) {
        uint64_t item = r->n_taken;

        if (is_over(r, item))
            return;
        if (item < r->n_announced && r->state[item % r->flow->n_slots] == MADE)
            take_one(r);
        else if (!has_reader && r->n_announced - item < r->flow->n_slots &&
                 !is_over(r, r->n_announced))
            (void)announce(r);
        else if (r->n_workers == 0 && r->n_claimed < r->n_announced)
            make_one(r, 0);
        else
            pthread_cond_wait(&r->moved, &r->lock);
    }
}

/* Start a thread that leaves signals to the others: a signal interrupts the call that waits. */
static bool start(pthread_t *thread, void *(*fn)(void *), struct run *r)
{
    sigset_t all, before;
    bool started;

    if (atomic_load(&failing_thread) > 0 && atomic_fetch_sub(&failing_thread, 1) == 1)
        return false;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    started = pthread_create(thread, NULL, fn, r) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

/* The lock is held: threads begin once the writer waits. */
static bool start_all(struct run *r, pthread_t *thread, int *n)
{
    bool has_reader = start(&thread[0], read_ahead, r);

    *n = has_reader;
    while (r->n_workers < r->flow->n_threads && start(&thread[*n], work, r)) {
        ++*n;
        r->n_workers++;
    }
    return has_reader;
}

bl_status bl_flow_run(const bl_flow *flow, struct bl_err *err)
{
    struct run r = { .flow = flow,
                     .lock = PTHREAD_MUTEX_INITIALIZER,
                     .moved = PTHREAD_COND_INITIALIZER,
                     .end = UINT64_MAX,
                     .failed = UINT64_MAX };
    pthread_t *thread = bl_calloc((size_t)flow->n_threads + 1, sizeof(*thread));
    bool has_reader;
    int n = 0;

    r.state = bl_calloc(flow->n_slots, sizeof(*r.state));
    if (!thread || !r.state) {
        bl_free(thread);
        bl_free(r.state);
        return bl_fail_nomem(err, "threads");
    }
    pthread_mutex_lock(&r.lock);
    has_reader = start_all(&r, thread, &n);
    write_in_order(&r, has_reader);
    pthread_mutex_unlock(&r.lock);
    for (int i = 0; i < n; i++)
        pthread_join(thread[i], NULL);
    pthread_cond_destroy(&r.moved);
    pthread_mutex_destroy(&r.lock);
    bl_free(thread);
    bl_free(r.state);
    if (r.failed == UINT64_MAX)
        return BL_OK;
    if (err)
        *err = r.failure;
    return r.failure.status;
}

void bl_flow_fail_thread_at(unsigned k)
{
    atomic_store(&failing_thread, k);
}
