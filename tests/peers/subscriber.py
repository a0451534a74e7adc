#!/usr/bin/python3
"""A SUB without security, as programs are that follow a collector: see control.py for how it is
steered.

Commands of its own:
  connect {address, topics, options?}   connects to address, and subscribes to each of topics
  unsubscribe {topic}                   no longer subscribes to it

Events of its own:
  message {frames}                      one message
"""

import zmq

from control import Peer, tell


class Subscriber(Peer):
    def do_connect(self, command):
        self.open(zmq.SUB, command.get("options", {}))
        for topic in command["topics"]:
            self.socket.setsockopt(zmq.SUBSCRIBE, topic.encode())
        self.socket.connect(command["address"])

    def do_unsubscribe(self, command):
        self.socket.setsockopt(zmq.UNSUBSCRIBE, command["topic"].encode())

    def tell_message(self, frames):
        tell("message", frames=[frame.hex() for frame in frames])


if __name__ == "__main__":
    Subscriber().run()
