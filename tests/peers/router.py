#!/usr/bin/python3
"""A CURVE ROUTER, as collectors are: see control.py for how it is steered.

Commands of its own:
  bind {address?, options?}  listens (default tcp://127.0.0.1:*), after `close` on
                             the same address as before; answers with address,
                             port and public
  plain {address?}           likewise, without CURVE

Events of its own:
  message {from, frames}     one message; from is the routing id
"""

import zmq

from control import Peer, tell


class Router(Peer):
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
