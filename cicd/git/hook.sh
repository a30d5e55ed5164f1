#!/bin/sh
# Run by git receive-pack before (pre-receive) and after (post-receive) it moves
# refs. It hands the list of refs to wherry over descriptor 3, shows the lines
# that come back over 4 to the pusher, and ends as wherry says. Where wherry is
# gone, nothing is accepted.
{ printf '%s %s\n' "${0##*/}" "$GIT_QUARANTINE_PATH" && cat && echo .; } >&3 || exit 1
while IFS= read -r line <&4; do
	case $line in
	+) exit 0 ;;
	-) exit 1 ;;
	*) printf '%s\n' "${line#:}" ;;
	esac
done
exit 1
