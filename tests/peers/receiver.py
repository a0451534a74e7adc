#!/usr/bin/python3
"""A receiver of HTTP requests, with or without TLS, that answers as it is told.

Steered as control.py describes, without a socket of ZeroMQ's. Commands:
  listen {certificate?, key?}   on a free port of 127.0.0.1; with these files by TLS
                                -> {port}
  answer {answers}              the answers to the next requests; 204 to those after them

An answer is an object:
  {status, headers?, body?}     says so
  {hang: true}                  says nothing until the end
  {close: true}                 closes the connection instead
  {status, torn: true}          promises a body, sends half of it, and closes

Events:
  request {path, headers, body, time}   one request, read to its end, before its answer;
                                        time in seconds, of a clock that only goes forward
"""

import collections
import json
import os
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

lock = threading.Lock()
answers = collections.deque()
end = threading.Event()


def tell(event, **fields):
    with lock:
        print(json.dumps({"event": event, **fields}), flush=True)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with lock:
            answer = answers.popleft() if answers else {"status": 204}
        headers = [[name.lower(), value] for name, value in self.headers.items()]
        tell("request", path=self.path, headers=headers, body=body.hex(), time=time.monotonic())
        if answer.get("hang"):
            end.wait()
        if answer.get("hang") or answer.get("close"):
            self.close_connection = True
            return
        text = answer.get("body", "").encode()
        self.send_response(answer["status"])
        for name, value in answer.get("headers", {}).items():
            self.send_header(name, value)
        torn = answer.get("torn", False)
        if answer["status"] != 204:
            self.send_header("Content-Length", str(1000 if torn else len(text)))
        self.end_headers()
        self.wfile.write(b"x" * 500 if torn else text)
        self.close_connection = torn

    do_GET = do_POST

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    tls = None

    def finish_request(self, request, address):
        # On the connection's own thread: a handshake must not hold up the others.
        if self.tls is not None:
            request = self.tls.wrap_socket(request, server_side=True)
        super().finish_request(request, address)

    def handle_error(self, request, address):
        tell("broken", reason=str(sys.exc_info()[1]))


def listen(command):
    server = Server(("127.0.0.1", 0), Handler)
    if "certificate" in command:
        server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.tls.load_cert_chain(command["certificate"], command["key"])
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return {"port": server.server_address[1]}


def answer(command):
    with lock:
        answers.extend(command["answers"])


def main():
    commands = {"listen": listen, "answer": answer}
    for line in sys.stdin:
        command = json.loads(line)
        name = command["do"]
        try:
            done = commands[name](command) or {}
        except (OSError, KeyError, ValueError) as error:
            tell("failed", do=name, reason=f"{type(error).__name__}: {error}")
        else:
            tell("done", do=name, **done)
    end.set()
    sys.stdout.flush()
    # Threads that hang must not keep it.
    os._exit(0)


if __name__ == "__main__":
    main()
