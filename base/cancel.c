/* cancel.c - the one global flag of the program. */
#include "base/cancel.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>

static atomic_int arrived; /* lock-free, so the handler may set it while other threads look */

static void remember(int signal_number)
{
    atomic_store_explicit(&arrived, signal_number, memory_order_relaxed);
}

static void catch_signal(int signal_number)
{
    struct sigaction action, before;

    /* Whoever started us with the signal ignored (nohup, a shell's "&") wants it ignored. */
    if (sigaction(signal_number, NULL, &before) == 0 && before.sa_handler == SIG_IGN)
        return;
    memset(&action, 0, sizeof(action));
    action.sa_handler = remember;
    action.sa_flags = (int)SA_RESETHAND; /* the second one ends the program at once */
    sigemptyset(&action.sa_mask);
    sigaction(signal_number, &action, NULL);
}

void bl_cancel_on_signals(void)
{
    catch_signal(SIGINT);
    catch_signal(SIGTERM);
    catch_signal(SIGHUP);
    catch_signal(SIGPIPE);    /* `2>&1 | head`, while an output is half written */
    signal(SIGXFSZ, SIG_IGN); /* a write past `ulimit -f` fails with EFBIG: a sentence */
}

int bl_cancel_signal(void)
{
    return atomic_load_explicit(&arrived, memory_order_relaxed);
}

bl_status bl_cancel_check(struct bl_err *err)
{
    int signal_number = bl_cancel_signal();

    if (signal_number == 0)
        return BL_OK;
    return bl_fail(err, BL_E_CANCELLED, "stopped by signal %d", signal_number);
}
