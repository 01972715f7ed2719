"""The simulator's interface: start it, fill it, move its clock, and ask what is true."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Self, Unpack

from recvault.simulator import callbacks, calls, population
from recvault.simulator.callbacks import Callback
from recvault.simulator.calls import SimCall
from recvault.simulator.dates import midnight
from recvault.simulator.details import Details
from recvault.simulator.faults import Faults
from recvault.simulator.media import Media
from recvault.simulator.recording import Api, SimRecording
from recvault.simulator.simulated_service import Logged, SimulatedService
from recvault.simulator.switches import Switches
from recvault.simulator.wire import Server
from recvault.simulator.world import Service as Kind
from recvault.simulator.world import SimAccount, Status, World

_KEPT = 500_000  # the latest requests in the log


class Simulator:
    """The services on one origin, and a host for signed URLs on another; real HTTP on 127.0.0.1."""

    def __init__(self, seed: int = 0, switches: Switches | None = None, *, port: int = 0, media_port: int = 0) -> None:
        self._world = World(seed, switches or Switches())
        self._ports = (port, media_port)
        self._log: deque[Logged] = deque(maxlen=_KEPT)
        self._servers: tuple[Server, ...] = ()
        self.faults = Faults(seed)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start listening. The ports are known from then on."""
        services = [SimulatedService(host, self._world, self.faults, self._log) for host in ("api", "media")]
        self._servers = tuple(Server(port, service.answer) for port, service in zip(self._ports, services, strict=True))
        api, media = self._servers
        self._world.base_url = f"http://127.0.0.1:{api.port}"
        self._world.media_host = f"127.0.0.1:{media.port}"
        for server in self._servers:
            server.start()

    def stop(self) -> None:
        """Close every connection and join every thread."""
        for server in self._servers:
            server.stop()
        self._servers = ()

    @property
    def base_url(self) -> str:
        return self._world.base_url

    @property
    def media_host(self) -> str:
        return self._world.media_host

    @property
    def tokens(self) -> list[str]:
        """The Authorization header of each access token that was issued."""
        return list(self._world.tokens)

    @property
    def seed(self) -> int:
        return self._world.seed

    @property
    def switches(self) -> Switches:
        return self._world.switches

    @switches.setter
    def switches(self, switches: Switches) -> None:
        self._world.switches = switches

    # The clock

    @property
    def now(self) -> datetime:
        return self._world.clock.now

    def advance(self, by: timedelta) -> None:
        """Move the clock forward."""
        self._world.clock.advance(by)

    def set_now(self, moment: datetime, *, running: bool = False) -> None:
        """Set the clock; it is frozen unless `running`."""
        self._world.clock.set(moment, running=running)

    # Accounts and recordings

    @property
    def accounts(self) -> list[SimAccount]:
        """All accounts, in the order of their creation."""
        return list(self._world.accounts.values())

    def add_account(
        self,
        kind: Kind,
        account_id: str | None = None,
        secret: str | None = None,
        *,
        parent: SimAccount | None = None,
        status: Status = "active",
    ) -> SimAccount:
        """Create an account. Ids and secrets that are not given depend on the seed and the order of creation."""
        return self._world.add_account(kind, account_id, secret, parent, status)

    def add(self, account: SimAccount, api: Api, **details: Unpack[Details]) -> SimRecording:
        """Add one recording, by default created now, with usual values for all details that are not given."""
        recording = population.make(self._world, account, api, len(account.shelves[api]), **details)
        account.shelves[api].add([recording])
        return recording

    def populate(
        self,
        account: SimAccount,
        api: Api,
        count: int = 1000,
        start: datetime | None = None,
        every: timedelta = timedelta(minutes=1),
        *,
        durations: tuple[float, float] = (1.0, 4.0),
        conference_share: float = 0.1,
        encrypted_share: float = 0.0,
        **overrides: Unpack[Details],
    ) -> list[SimRecording]:
        """Add many recordings, one `every` so often from `start`; by default the last one is a day old."""
        if api not in account.shelves:
            raise ValueError(f"a {account.kind} account has no {api} recordings")
        recordings = list(
            population.populate(
                self._world,
                account,
                api,
                count=count,
                start=start or midnight(self.now - count * every - timedelta(days=1)),
                every=every,
                durations=durations,
                conference_share=conference_share,
                encrypted_share=encrypted_share,
                details=overrides,
            )
        )
        account.shelves[api].add(recordings)
        return recordings

    def recordings(self, account: SimAccount) -> list[SimRecording]:
        """Return all recordings of the account, past, present and future, in their current state."""
        return [recording for shelf in account.shelves.values() for recording in shelf]

    def truth(self, account: SimAccount) -> list[SimRecording]:
        """Return what an archive of this account must contain: listed, final, fetchable, and with a readable row."""
        now = self.now
        found = (r for r in self.recordings(account) if r.visible_at <= now and r.fetchable(now) and not r.malformed)
        return sorted(found, key=lambda recording: (recording.created_at, recording.recording_id))

    def calls(self, account: SimAccount, api: Api) -> list[SimCall]:
        """Return all calls of the account's recordings in this API, newest first, listed or not."""
        return calls.calls(self._world, account, api)

    def delete(self, recording: SimRecording) -> None:
        """Delete a recording at the service, as its owner might."""
        shelf = self._world.accounts[recording.account_id].shelves[recording.api]
        shelf.delete(recording.recording_id, self.now)

    def media(self, recording: SimRecording, media_format: str, channels: int | None = None) -> Media:
        """Return what a client must receive, byte for byte: ciphertext if encrypted; by default all channels.

        Twilio serves a conference in mono if no RequestedChannels is sent: `recording.default_channels`.
        """
        return self._world.media(recording, media_format, channels or recording.channels)

    def plain(self, recording: SimRecording, media_format: str, channels: int | None = None) -> Media:
        """Return the media before encryption."""
        return self._world.plain(recording, media_format, channels or recording.channels)

    def seal_for(self, public_pem: bytes) -> str:
        """Really encrypt, for this RSA key, from now on; return its id. Another call rotates the key."""
        from recvault.simulator.sealing import Sealer

        if self._world.sealer is None:
            self._world.sealer = Sealer(self.seed, public_pem)
        else:
            self._world.sealer.rotate(public_pem)
        return self._world.sealer.public_key_sid

    def signed_url(self, recording: SimRecording, media_format: str, seconds: int = 600) -> str:
        """Return a URL on the media host, as the services make them."""
        return self._world.signed_url(recording, media_format, recording.channels, seconds)

    def callback(self, account: SimAccount, recording: SimRecording, url: str) -> Callback:
        """Return the signed webhook that the service sends to this URL about a recording as it is now."""
        return callbacks.callback(account, recording, url, self.now)

    # The log

    @property
    def requests(self) -> list[Logged]:
        """All answered requests, in order."""
        return list(self._log.copy())

    def count(self, wanted: Callable[[Logged], bool]) -> int:
        return sum(map(wanted, self._log.copy()))

    def clear_requests(self) -> None:
        self._log.clear()
