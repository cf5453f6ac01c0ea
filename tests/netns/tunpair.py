#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Joins two TUN devices, given by their descriptors: what one node sends arrives at the other. A layer-3 wire, as an IP tunnel or WireGuard would be."""

import os
import selectors
import sys


def main():
    first, second = (int(word) for word in sys.argv[1:3])
    selector = selectors.DefaultSelector()
    for source, sink in ((first, second), (second, first)):
        os.set_blocking(source, False)
        selector.register(source, selectors.EVENT_READ, sink)
    while True:
        for key, _ in selector.select():
            for _ in range(64):
                try:
                    packet = os.read(key.fd, 65536)
                except BlockingIOError:
                    break
                except OSError:
                    return  # the device went away with its namespace
                try:
                    os.write(key.data, packet)
                except BlockingIOError:
                    pass  # a full queue drops, as a wire does
                except OSError:
                    return


if __name__ == "__main__":
    main()
