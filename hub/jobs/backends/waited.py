"""How a wrapper in POSIX shell waits for its program, whatever signals come meanwhile; the same on every cluster."""

# For $p; leaves its exit code in $c. The traps of the wrapper set $hit.
WAITED = r"""
# A signal breaks off `wait`. Some shells have reaped the program by then and some have not, so it is neither asked for
# with `kill -0`, nor believed when the second `wait` knows nothing of it.
c=
while :; do
    hit=
    wait "$p"
    w=$?
    [ "$w" -eq 127 ] && [ -n "$c" ] || c=$w
    [ -n "$hit" ] || break
done
"""
