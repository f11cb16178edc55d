/* The program's entry point. */
#include "dispatch.h"

#include <signal.h>

int main(int argc, char **argv)
{
    (void)signal(SIGXFSZ, SIG_IGN); /* a limit on files is an error like a full disk */
    return rf_cli_run(argc > 0 ? (size_t)argc - 1 : 0,
                      (const char *const *)argv + (argc > 0 ? 1 : 0));
}
