"""`python -m demo`: play the story, then stay up for whoever watches, or end."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from demo.processes import Processes, StepFailed
from demo.screen import Screen
from demo.stay import invitation, invite
from demo.story import Story

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130

TITLE = "Two phones call each other through five peers and no server, while peers die."


def main() -> int:
    """Exit status: 0 every step held, 1 one did not."""
    options = _options()
    screen = Screen()
    screen.text(TITLE)
    directory = Path(tempfile.mkdtemp(prefix="p2psip-demo-"))
    try:
        asyncio.run(_demonstrate(directory, screen, options))
    except StepFailed:
        screen.text(f"Everything is kept in {directory}, the logs in {directory / 'logs'}.")
        return EXIT_FAILED
    except (KeyboardInterrupt, asyncio.CancelledError):
        shutil.rmtree(directory)
        return EXIT_INTERRUPTED
    shutil.rmtree(directory)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo", description=TITLE)
    parser.add_argument("--once", action="store_true", help="end after the last step, on a terminal too")
    parser.add_argument(
        "--sabotage", action="store_true", help="kill the peer of bob's phone as well, to see a step that fails"
    )
    return parser.parse_args()


async def _demonstrate(directory: Path, screen: Screen, options: argparse.Namespace) -> None:
    _end_on_signals()
    processes = Processes(directory)
    story = Story(directory, processes, screen, sabotage=options.sabotage)
    try:
        await story.play()
        screen.step(f"Every step held, in {screen.elapsed_s:.1f} s")
        if not options.once and sys.stdin.isatty() and sys.stdout.isatty():
            await _stay(story, screen)
    except StepFailed as failure:
        screen.bad(f"FAILED: {failure}")
        screen.text(f"\nThe step that failed: {story.failed_step}")
        raise
    finally:
        await processes.end_all()


async def _stay(story: Story, screen: Screen) -> None:
    """Until Ctrl-C."""
    await invite(story)
    screen.text(invitation(story))
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        screen.text("\nThe demonstration ends.")


def _end_on_signals() -> None:
    """Whoever is told to go ends its processes first; Ctrl-C counts even where a background shell has it ignored."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


if __name__ == "__main__":
    sys.exit(main())
