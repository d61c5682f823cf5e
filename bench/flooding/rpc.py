"""A client of an agent's RPC port."""
import socket
import time

from flooding.wire import Short, pack, unpack

BODIES = {"members": True, "stats": True, "join": True, "event": False, "handshake": False, "leave": False, "stream": False}


class Rpc:
    """One connection that has shaken hands. Calls come one after the other. `small`: bytes of its buffer and of its segments."""

    def __init__(self, ip, patience=0, source=None, small=None):
        end = time.monotonic() + patience
        while True:
            self.socket = socket.socket()
            if small:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, small[0])
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, small[1])
            if source:
                self.socket.bind((source, 0))
            self.socket.settimeout(30)
            try:
                self.socket.connect((ip, 7373))
                break
            except ConnectionRefusedError:
                self.socket.close()
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.seq, self.data = 0, b""
        self.call("handshake", Version=1)

    def name(self):
        """The address under which the agent knows it."""
        return "%s:%d" % self.socket.getsockname()

    def call(self, command, **body):
        self.send(command, **body)
        head = self.read()
        if head["Error"]:
            raise RuntimeError(f"{command}: {head['Error'].decode()}")
        return self.read() if BODIES[command] else None

    def send(self, command, **body):
        self.seq += 1
        self.socket.sendall(pack({"Command": command, "Seq": self.seq}) + (pack(body) if body else b""))

    def read(self):
        while True:
            try:
                value, end = unpack(self.data)
            except Short:
                chunk = self.socket.recv(1 << 16)
                if not chunk:
                    raise ConnectionError("the agent has closed the connection")
                self.data += chunk
            else:
                self.data = self.data[end:]
                return value
