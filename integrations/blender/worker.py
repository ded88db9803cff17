# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker of this Blender: started when it is first needed, and again when the path of fluidsr changes."""

import os

from .client import Client, WorkerError, is_last, result_of

_client = None
_command = None


def client(command):
    """The connection to a worker of the program `command`. Raises WorkerError."""
    global _client, _command
    if _client is None or not _client.alive or _command != command:
        stop()
        if not os.access(command, os.X_OK):
            raise WorkerError(
                f"{command or 'fluidsr'}: is not a program; set its path in the add-on's preferences"
            )
        _client, _command = Client.start([command]), command
    return _client


def stop():
    """End the worker."""
    global _client
    if _client is not None:
        _client.close()
        _client = None


class Run:
    """A request that runs while Blender stays responsive: call `step` regularly until `done`."""

    def __init__(self, command, request, **arguments):
        self._job = client(command).submit(request, **arguments)
        self.done, self.result, self.error, self.cancelled = False, None, "", False
        self.fraction, self.text, self.notes = 0.0, "starting", []

    def step(self):
        """Process the events that the worker has sent."""
        for event in self._job.poll():
            if event["event"] == "progress":
                self.fraction = event["frame"] / event["of"]
                left = event["seconds_left"]
                self.text = f"{event['frame']} of {event['of']} frames"
                self.text += "" if left is None else f", {_duration(left)} left"
            elif event["event"] == "note":
                self.notes.append(event["message"])
            elif is_last(event):
                self._end(event)

    def _end(self, event):
        self.done = True
        self.cancelled = event["event"] == "cancelled"
        try:
            self.result = None if self.cancelled else result_of(event)
        except WorkerError as error:
            self.error = str(error)

    def cancel(self):
        """Ask the worker to stop; `done` comes soon after. Complete frames are kept."""
        self.text = "stopping"
        try:
            self._job.cancel()
        except WorkerError as error:
            self.done, self.error = True, str(error)


def _duration(seconds):
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
