#!/bin/sh
# Writes the lock files anew from setup.cfg: make-locks.sh [consumer] [speech] [policy] [uv]
# Needs uv on the PATH. Without arguments all are written. To upgrade what they hold:
# UPGRADE=1 make-locks.sh
#
# A host has one release, so each lock holds what all programs on such a host need:
#   consumer  unpack and review, an operator's commands, transfer, a judge behind an endpoint
#   speech    that, and WhisperX
#   policy    that, and a policy model in the consumer's own process
# uv.txt is the installer itself.
set -eu
cd "$(dirname "$0")/../../.."

lock() {
    name=$1
    shift
    uv pip compile "$@" \
        --python-version 3.11 --python-platform x86_64-manylinux_2_36 \
        --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --quiet \
        ${UPGRADE:+--upgrade} \
        --custom-compile-command "ops/ansible/locks/make-locks.sh $name" \
        --output-file "ops/ansible/locks/$name.txt"
}

for name in ${*:-consumer speech policy uv}; do
    case $name in
        consumer) lock consumer setup.cfg --extra transfer --extra endpoint ;;
        speech) lock speech setup.cfg --extra transfer --extra endpoint --extra speech ;;
        policy) lock policy setup.cfg --extra transfer --extra endpoint --extra speech --extra policy ;;
        uv) lock uv ops/ansible/locks/uv.in ;;
        *) echo "$name is none of consumer, speech, policy, uv" >&2; exit 2 ;;
    esac
done
