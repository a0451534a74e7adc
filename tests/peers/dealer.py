#!/usr/bin/python3
"""A CURVE DEALER, as agents are: see control.py for how it is steered.

Commands of its own:
  connect {address, server, id?, options?}  connects to address, where the key
                                            server is expected, as id

Events of its own:
  message {frames}                          one message
"""

import zmq

from control import Peer, tell


class Dealer(Peer):
    def do_connect(self, command):
        address = command["address"]
        options = {
            "CURVE_SERVERKEY": command["server"].encode(),
            "CURVE_PUBLICKEY": self.public,
            "CURVE_SECRETKEY": self.secret,
            "IPV6": int("[" in address),
        }
        if "id" in command:
            options["IDENTITY"] = bytes.fromhex(command["id"])
        options.update(command.get("options", {}))
        self.open(zmq.DEALER, options)
        self.socket.connect(address)

    def tell_message(self, frames):
        tell("message", frames=[frame.hex() for frame in frames])


if __name__ == "__main__":
    Dealer().run()
