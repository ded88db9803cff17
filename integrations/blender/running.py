# SPDX-License-Identifier: GPL-3.0-or-later
"""The work that goes on at present, which panels show and other work has to wait for."""

request = None  # the worker.Run of an operator
install = None  # the installation.Installation of the preferences
