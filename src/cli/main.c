/* The program's entry point. */
#include "dispatch.h"

int main(int argc, char **argv)
{
    return rf_cli_run(argc > 0 ? (size_t)argc - 1 : 0,
                      (const char *const *)argv + (argc > 0 ? 1 : 0));
}
