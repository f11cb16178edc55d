/* The smallest program that uses an installed library. */
#include <reformer/reformer.h>

#include <stdio.h>

int main(void)
{
    (void)printf("%s %s\n", rf_version(), rf_status_name(RF_OK));
    return 0;
}
