#!/bin/sh
# The library allocates in one place, never prints and never ends the process. Every call of a function of calls.awk outside its place
# is a fault, or an exception with a reason (for instance free() for what another library allocated).
. "$(dirname "$0")/common.sh"
sources src | xargs awk -f "$house/strip.awk" -f "$house/calls.awk" | except calls
house_done
