#!/usr/bin/python3
"""A CURVE ROUTER, as collectors are: see control.py for how it is steered.

Commands of its own:
  bind {address?, options?}  listens (default tcp://127.0.0.1:*), after `close` on
                             the same address as before; answers with address,
                             port and public
  plain {address?}           likewise, without CURVE
  guard                      from now on refuses every key (RFC 27, ZAP)

Events of its own:
  message {from, frames}     one message; from is the routing id
"""

import zmq
from zmq.auth.thread import ThreadAuthenticator

from control import Peer, tell


class RefuseAll:
    """Lets no key in."""

    def callback(self, domain, key):
        return False


class Router(Peer):
    guard = None
    address = "tcp://127.0.0.1:*"

    def do_bind(self, command):
        options = {
            "CURVE_SERVER": 1,
            "CURVE_PUBLICKEY": self.public,
            "CURVE_SECRETKEY": self.secret,
        }
        return self.bind(command, options)

    def do_plain(self, command):
        return self.bind(command, {})

    def do_guard(self, command):
        self.guard = ThreadAuthenticator(self.context)
        self.guard.start()
        self.guard.configure_curve_callback("*", RefuseAll())

    def ending(self):
        if self.guard is not None:
            self.guard.stop()

    def bind(self, command, options):
        address = command.get("address", self.address)
        options["IPV6"] = int("[" in address)
        options["ROUTER_MANDATORY"] = 1
        options.update(command.get("options", {}))
        self.open(zmq.ROUTER, options)
        self.socket.bind(address)
        self.address = self.socket.last_endpoint.decode().rstrip("\0")
        port = int(self.address.rpartition(":")[2])
        return {"address": self.address, "port": port, "public": self.public.decode()}

    def tell_message(self, frames):
        sender, *frames = frames
        tell("message", **{"from": sender.hex()}, frames=[f.hex() for f in frames])


if __name__ == "__main__":
    Router().run()
