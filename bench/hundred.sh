# Starts an agent of the first program in this network namespace, joins ninety-nine others to it, and runs `members` of the
# second program so many times: peak memory in kB and milliseconds, one line each.
set -eu
ip link set lo up
pids=
trap 'kill $pids' EXIT
for number in $(seq 1 100); do
    join=
    [ "$number" = 1 ] || join=-join=127.66.0.1:7946
    "$1" agent -node="agent-$number" -bind="127.66.0.$number:7946" -rpc-addr="127.66.0.$number:7373" $join >/dev/null 2>&1 &
    pids="$pids $!"
    until "$1" info -rpc-addr="127.66.0.$number:7373" >/dev/null 2>&1; do :; done
done
until [ "$("$2" members -rpc-addr=127.66.0.1:7373 | grep -c alive)" = 100 ]; do :; done
for _ in $(seq "$3"); do
    begun=$(date +%s%N)
    peak=$(/usr/bin/time -f %M "$2" members -rpc-addr=127.66.0.1:7373 2>&1 >/dev/null)
    echo "$peak $((($(date +%s%N) - begun) / 1000))e-3"
done
