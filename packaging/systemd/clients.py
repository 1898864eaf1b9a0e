"""Clients that come and go while truepeer is restarted and upgraded: what each hears is compared to the byte.

clients.py ADDRESS PORT COUNT: at least COUNT sessions, and on until the file `finish-clients` is in this folder. Called by
packaging/systemd/trial. The first that is refused, cut, or hears something else ends all of them with 1."""

import pathlib
import socket
import sys
import threading

address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
finish = pathlib.Path("finish-clients")
PATIENCE = 60
WORDS = 40
done, problems, lock = 0, [], threading.Lock()


def session(state):
    with socket.create_connection((address, port), timeout=PATIENCE) as connection:
        state["port"] = connection.getsockname()[1]
        stream = connection.makefile("rb")
        state["awaits"] = "the greeting"
        greeting = stream.readline()
        assert greeting.startswith(b"220 ") and greeting.endswith(b"\r\n"), greeting
        state["awaits"] = "answers"
        # All at once: the answers wait for nobody.
        connection.sendall(b"NOOP\r\n" * WORDS)
        for _ in range(WORDS):
            answer = stream.readline()
            assert answer.startswith(b"250") and answer.endswith(b"\r\n"), answer
        state["awaits"] = "the goodbye"
        connection.sendall(b"QUIT\r\n")
        goodbye = stream.read()
        assert goodbye.startswith(b"221") and goodbye.count(b"\r\n") == 1, goodbye


def client():
    global done
    while not problems and (done < count or not finish.exists()):
        state = {}
        try:
            session(state)
        except Exception as error:  # whatever it is, somebody was not served
            problems.append(f"after {done} sessions: {error!r} {state}")
            return
        with lock:
            done += 1
            if done % 50 == 0:
                pathlib.Path("sessions").write_text(str(done))


clients = [threading.Thread(target=client) for _ in range(8)]
for one in clients:
    one.start()
for one in clients:
    one.join()
if problems:
    sys.exit("\n".join(problems))
print(done)
