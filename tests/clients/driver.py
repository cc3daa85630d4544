"""What the Python drivers share: their arguments, their lines on standard output, and the plan of answers.

A driver is a small program around a real client library. It prints one JSON document a line; a test reads them.
"""

import argparse
import itertools
import json
import os
import sys


def report(event, **fields):
    """Prints one line, at once: the test waits for it."""
    print(json.dumps({"event": event, **fields}, default=str), flush=True)


def nsq_arguments():
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers(dest="verb", required=True)

    publish = verbs.add_parser("publish", help="publish PREFIX-0 ... PREFIX-(COUNT-1), each awaited")
    publish.add_argument("--tcp", required=True)
    publish.add_argument("--topic", required=True)
    publish.add_argument("--count", type=int, default=1)
    publish.add_argument("--prefix", default="m")
    publish.add_argument("--batch", type=int, default=1, help="messages an MPUB; 1 means PUB")
    publish.add_argument("--defer", type=int, default=0, help="milliseconds; DPUB")
    publish.add_argument("--format", default="%s", help="the body, with %%s where PREFIX-N goes")
    publish.add_argument("--patience", type=float, default=0, help="seconds to publish again what failed")

    endless(publish)
    connection(publish)

    consume = verbs.add_parser("consume", help="consume until COUNT messages are finished")
    consume.add_argument("--tcp", default="", help="an nsqd; or else --lookupd")
    consume.add_argument("--lookupd", default="", help="HOST:PORT of a nsqlookupd's HTTP")
    consume.add_argument("--topic", required=True)
    consume.add_argument("--channel", required=True)
    consume.add_argument("--count", type=int, default=1)
    consume.add_argument("--distinct", type=int, default=0, help="1: COUNT different bodies, however often each comes")
    consume.add_argument("--max-in-flight", type=int, default=10)
    consume.add_argument("--requeue", type=int, default=0, help="requeue the first so many messages, once each")
    consume.add_argument("--requeue-delay", type=int, default=0, help="milliseconds")
    consume.add_argument("--silent", type=int, default=0, help="leave the first so many messages to time out, once each")
    consume.add_argument("--touch", type=int, default=0, help="TOUCH so many of the messages before the answer")
    consume.add_argument("--msg-timeout", type=int, default=0, help="milliseconds; 0 is the server's own")
    consume.add_argument("--seconds", type=float, default=60.0, help="give up after")
    connection(consume)
    return parser.parse_args()


def connection(verb):
    verb.add_argument("--options", type=json.loads, default={}, help="a JSON object: TLS, compression, AUTH as the library names them")


def endless(publish):
    publish.add_argument("--until", help="publish on, whatever COUNT says, until this file exists")
    publish.add_argument("--pace", type=float, default=0, help="seconds between two batches")


def numbers(arguments):
    """0, 1, ... as far as is to be published."""
    number = 0
    while number < arguments.count or arguments.until:
        if arguments.until and os.path.exists(arguments.until):
            return
        yield number
        number += 1


def bodies(arguments):
    """The bodies to publish, in batches."""
    names = (arguments.format.replace("%s", f"{arguments.prefix}-{number}").encode() for number in numbers(arguments))
    while batch := list(itertools.islice(names, arguments.batch)):
        yield batch


class Plan:
    """Decides how each delivery is answered, tells the test about it, and knows when the work is done."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.to_requeue = arguments.requeue
        self.to_ignore = arguments.silent
        self.to_touch = arguments.touch
        self.met = set()
        self.bodies = set()
        self.finished = 0

    def answer(self, identity, body, attempts):
        first_meeting = identity not in self.met
        self.met.add(identity)
        touch = self.to_touch > 0
        if touch:
            self.to_touch -= 1
        if first_meeting and self.to_ignore > 0:
            self.to_ignore -= 1
            answer = "none"
        elif first_meeting and self.to_requeue > 0:
            self.to_requeue -= 1
            answer = "req"
        else:
            self.bodies.add(body)
            self.finished = len(self.bodies) if self.arguments.distinct else self.finished + 1
            answer = "fin"
        report(
            "message",
            id=identity.decode() if isinstance(identity, bytes) else identity,
            body=body.decode(errors="replace"),
            attempts=attempts,
            answer=answer,
            touched=touch,
        )
        return answer, touch

    def is_done(self):
        return self.finished >= self.arguments.count


def succeed(count):
    report("done", count=count)
    sys.exit(0)


def fail(text):
    report("error", text=str(text))
    sys.exit(1)
