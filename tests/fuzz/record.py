"""Takes down what clients send: the recorded sessions that the fuzzing starts from.

Usage: record.py PORT LISTEN FOLDER NAME. Listens on port LISTEN, hands everything on to a server on
PORT, and writes what each connection sent to FOLDER/NAME-1, FOLDER/NAME-2, ... Ends when its input
does. The sessions in corpus/session were made so, each client with a few of its programs in
tests/clients; a connection that asked for encryption first is written without that request.
"""

import os
import socket
import sys
import threading

PORT, LISTEN, FOLDER, NAME = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
SSL_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x2f"
MOST = 64 << 10


def pump(source, target, kept):
    try:
        while data := source.recv(65536):
            if kept is not None:
                kept.append(data)
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def serve(client, number):
    server = socket.create_connection(("127.0.0.1", PORT))
    kept = []
    back = threading.Thread(target=pump, args=(server, client, None), daemon=True)
    back.start()
    pump(client, server, kept)
    back.join(timeout=5)
    sent = b"".join(kept)
    if sent.startswith(SSL_REQUEST):
        sent = sent[len(SSL_REQUEST):]
    # A cancel request is no session.
    if 16 < len(sent) < MOST:
        with open(os.path.join(FOLDER, f"{NAME}-{number}"), "wb") as file:
            file.write(sent)


listener = socket.create_server(("127.0.0.1", LISTEN))
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
for number in range(1, 1000):
    client, _ = listener.accept()
    threading.Thread(target=serve, args=(client, number), daemon=True).start()
