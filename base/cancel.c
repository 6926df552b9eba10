/* cancel.c - the one global flag of the program. */
#include "base/cancel.h"

#include <signal.h>
#include <string.h>

static volatile sig_atomic_t arrived;

static void remember(int signal_number)
{
    arrived = signal_number;
}

void bl_cancel_on_signals(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof(action));
    action.sa_handler = remember;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

int bl_cancel_signal(void)
{
    return arrived;
}

bl_status bl_cancel_check(struct bl_err *err)
{
    return arrived ? bl_fail(err, BL_E_CANCELLED, "stopped by signal %d", (int)arrived) : BL_OK;
}
