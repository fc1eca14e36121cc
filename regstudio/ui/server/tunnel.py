"""A tunnel to a port of this machine, through Gradio's servers.

launch(share=True) breaks the local page without internet and can wait for ever, so the tunnel is opened separately.
"""

import subprocess
from typing import cast

from regstudio.errors import RunError

OFFLINE = (
    "Gradio's servers cannot be reached. Is this machine online, and does no firewall stand between? Within your own "
    "network no link is needed: start RegStudio with --host 0.0.0.0"
)


class GradioTunnel:
    """Opens and closes tunnels, each known by a token; `server` is HOST:PORT of a share server other than Gradio's."""

    def __init__(self, server: str | None = None) -> None:
        self._server = server

    def open(self, port: int, token: str) -> str:
        """Open a tunnel to a port of this machine and return its public address; waits for the answer.

        Raises RunError where the servers cannot be reached, of which Gradio also gets the tunnel's program.
        """
        from gradio.networking import setup_tunnel

        try:
            return setup_tunnel(
                local_host="127.0.0.1",
                local_port=port,
                share_token=token,
                share_server_address=self._server,
                share_server_tls_certificate=None,
            )
        except Exception as error:
            if _is_offline(error):
                raise RunError(OFFLINE) from error
            raise

    def close(self, token: str) -> None:
        """End the tunnel's process, and with it a thread that still waits for its answer."""
        from gradio.tunneling import CURRENT_TUNNELS

        for tunnel in [tunnel for tunnel in CURRENT_TUNNELS if tunnel.share_token == token]:
            process = cast("subprocess.Popen[bytes] | None", tunnel.proc)
            if process is not None:  # else it has not begun; Share closes it once it is open
                tunnel.proc = None  # ends gradio's waiting loop
                CURRENT_TUNNELS.remove(tunnel)
                _end(process)


def _is_offline(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, is that of a network that does not answer."""
    from httpx import TransportError

    while error is not None:
        if isinstance(error, (TransportError, ConnectionError, TimeoutError)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
