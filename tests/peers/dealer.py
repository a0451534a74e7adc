#!/usr/bin/python3
"""A CURVE DEALER, as agents are: see control.py for how it is steered.

Commands of its own:
  connect {address, server, id?, options?}  connects to address, where the key
                                            server is expected, as id
  crowd {address, server, count, frames, own_keys?}
                                            connects count times, each with a key of its own
                                            (or, with own_keys false, all with its own), and
                                            sends frames once over each; they stay until the end
  knock {address, server, count}            connects count times, each with a key of
                                            its own, and waits until each is refused

Events of its own:
  message {frames}                          one message
"""

import zmq

from control import Peer, tell


class Dealer(Peer):
    def __init__(self):
        super().__init__()
        self.crowd = []

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

    def do_crowd(self, command):
        context = zmq.Context()
        context.max_sockets = command["count"]
        frames = [bytes.fromhex(frame) for frame in command["frames"]]
        for _ in range(command["count"]):
            socket = context.socket(zmq.DEALER)
            socket.linger = 0
            socket.curve_serverkey = command["server"].encode()
            keys = self.public, self.secret
            if command.get("own_keys", True):
                keys = zmq.curve_keypair()
            socket.curve_publickey, socket.curve_secretkey = keys
            socket.connect(command["address"])
            socket.send_multipart(frames)
            # What is not referred to is closed.
            self.crowd.append(socket)

    def do_knock(self, command):
        context = zmq.Context()
        context.max_sockets = 4 * command["count"]
        waiting = zmq.Poller()
        sockets = {}
        for _ in range(command["count"]):
            socket = context.socket(zmq.DEALER)
            socket.linger = 0
            socket.curve_serverkey = command["server"].encode()
            socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
            monitor = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH)
            waiting.register(monitor, zmq.POLLIN)
            sockets[monitor] = socket
            socket.connect(command["address"])
        while sockets:
            for monitor, _ in waiting.poll():
                waiting.unregister(monitor)
                socket = sockets.pop(monitor)
                socket.disable_monitor()
                monitor.close(0)
                socket.close(0)
        context.term()

    def ending(self):
        for socket in self.crowd:
            socket.close(0)

    def tell_message(self, frames):
        tell("message", frames=[frame.hex() for frame in frames])


if __name__ == "__main__":
    Dealer().run()
