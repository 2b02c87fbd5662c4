"""Commands, in the same surroundings each time."""

import os
import subprocess
import sys

# The same clock, language and names in each build, as a careful pipeline has them.
ENVIRONMENT = {
    "TZ": "UTC",
    "LC_ALL": "C.UTF-8",
    "SOURCE_DATE_EPOCH": "1767225600",
    "CI": "true",
    "NODE_ENV": "production",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
}


def run(*arguments, cwd=None, **variables):
    """Runs a command; what it printed. Ends with what it said if it fails."""
    done = subprocess.run(
        [str(a) for a in arguments], cwd=cwd, env={**os.environ, **ENVIRONMENT, **variables},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, errors="replace",
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, arguments))}: {done.returncode}\n{done.stdout[-4000:]}")
    return done.stdout
