#!/bin/sh
# The main job on real input: run an encounter with progress, see it answered from the store, look at the slots.
set -eu
bgsim=${BGSIM:-bgsim}
cd "$(dirname "$0")/.."
store=.demo/results.db
rm -rf .demo && mkdir .demo

say() { printf '\n\033[1m%s\033[0m\n' "$1"; }
show() { printf '$ bgsim %s\n' "$*"; "$bgsim" "$@"; }

say "1. Two million fights of a party against three ogres"
show run battle --scenario examples/encounters/ogre_bridge.json --replicates 2000000 --seed 1 --store "$store"

say "2. The same question again is answered from the store"
show run battle --scenario examples/encounters/ogre_bridge.json --replicates 2000000 --seed 1 --store "$store"

say "3. Another encounter, first 200,000 fights, then 400,000: only the new ones are computed"
show run battle --scenario examples/encounters/goblin_ambush.json --replicates 200000 --seed 1 --store "$store"
show run battle --scenario examples/encounters/goblin_ambush.json --replicates 400000 --seed 1 --store "$store"

say "4. The newest result and the one before are in the primary and the secondary slot"
show store slots --store "$store"
