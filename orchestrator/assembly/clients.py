"""What asks models: made when one is named, closed together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from orchestrator import prices
from orchestrator.errors import ConfigError, ModelError, ModelRefused
from orchestrator.governor import Governor
from orchestrator.lanes import Lane
from orchestrator.messagebatches import MessageBatches
from orchestrator.ports import ModelClient
from orchestrator.records import ModelReply, ModelRequest
from orchestrator.settings import Config, ModelSettings

REPLAY = "replay:"
QUESTIONS = "questions"
"""Whose requests single questions are, in a lane."""


class Governed:
    """Asks single questions, as who should have an issue, each in its turn in the model's lane.

    Args:
        client: asks.
        lane: of the model that is asked.
        settings: how long a pause is waited for.
    """

    def __init__(self, client: ModelClient, lane: Lane, settings: ModelSettings) -> None:
        self._client = client
        self._lane = lane
        self._longest_s = settings.longest_wait_s

    async def reply(self, request: ModelRequest) -> ModelReply:
        """Return the reply.

        Raises:
            ModelError: no reply came, or the lane is paused for long.
        """
        size = request.size() // 3
        place = await self._lane.enter(QUESTIONS, size, lambda _: None, self._longest_s)
        try:
            reply = await self._client.reply(request)
        except ModelError as error:
            place.failed(error)
            raise
        else:
            place.replied(reply.rates, reply.usage)
            return reply
        finally:
            place.failed()

    async def aclose(self) -> None:
        """Nothing to close: the client is closed by who made it."""


class Clients:
    """Makes the clients of models, each once.

    Args:
        config: says which way goes to the Messages API.
        environment: holds the credential.
        given: a client that is asked whatever the model; None makes them.
        governor: has the models' lanes.
    """

    def __init__(
        self,
        config: Config,
        environment: Mapping[str, str],
        *,
        given: ModelClient | None = None,
        governor: Governor | None = None,
    ) -> None:
        self._governor = governor
        self._config = config
        self._environment = environment
        self._given = given
        self._made: dict[str, ModelClient] = {}

    def of(self, model: str, session: str = "") -> ModelClient:
        """Return what asks a model.

        Args:
            model: its full id, or a recording.
            session: whose replies a recording is to give; empty is the author's.

        Raises:
            ConfigError: there is no key or no recording, or the service's address is none.
        """
        if self._given is not None:
            return self._given
        if model.startswith(REPLAY):
            return self._recorded(model, session)
        kind = self._config.model.client
        if kind not in self._made:
            self._made[kind] = self._make(kind)
        return self._made[kind]

    def _recorded(self, name: str, session: str) -> ModelClient:
        from orchestrator.models.replay import ReplayClient, load_replies

        path = Path(name.removeprefix(REPLAY))
        if session:
            return ReplayClient(load_replies(path, session))
        if name not in self._made:
            self._made[name] = ReplayClient(load_replies(path))
        return self._made[name]

    def asked(self, name: str) -> tuple[ModelClient, prices.Model]:
        """Return what asks a model that is named by alias, id or recording, and the model.

        Raises:
            ConfigError: the name is not known, or there is no key.
        """
        if name.startswith(REPLAY):
            path = f"{REPLAY}{Path(name.removeprefix(REPLAY)).absolute()}"
            return self.of(path), prices.Model(path, prices.with_cache_rates(0, 0))
        model = prices.resolve(name, self._config.extra_models())
        client = self.of(model.id)
        if self._governor is not None:
            client = Governed(client, self._governor.lane(model.id), self._config.model)
        return client, model

    async def aclose(self) -> None:
        """Close every connection."""
        for client in self._made.values():
            await client.aclose()

    def _make(self, kind: str) -> ModelClient:
        key = _key(self._environment)
        silence = self._config.model.silence_s
        url = self._environment.get("ANTHROPIC_BASE_URL", "")
        if kind == "anthropic_sdk":
            from orchestrator.models.anthropic_sdk import AnthropicSdkClient

            _require_way(url, {})  # the SDK reads by itself which proxy there is
            return AnthropicSdkClient(key=key, base_url=url or None, silence_s=silence)
        from orchestrator.models.messages import DEFAULT_URL, MessagesClient

        _require_way(url or DEFAULT_URL, self._environment)
        return MessagesClient(
            key=key,
            base_url=url or DEFAULT_URL,
            silence_s=silence,
            environment=self._environment,
        )


def batches_of(environment: Mapping[str, str]) -> MessageBatches:
    """Return what sends and reads Message Batches.

    Raises:
        ConfigError: there is no key, or the service's address is none.
    """
    from orchestrator.models.anthropic_batches import AnthropicBatches

    key, url = _key(environment), environment.get("ANTHROPIC_BASE_URL", "")
    _require_way(url, {})
    return AnthropicBatches(key=key, base_url=url or None)


def _require_way(url: str, environment: Mapping[str, str]) -> None:
    """Refuse an address of the service, or of its proxy, that is none; empty is the usual one."""
    from orchestrator.models.ways import way_to

    try:
        if url:
            way_to(url, environment)
    except ModelRefused as error:
        raise ConfigError(str(error), hint=error.hint) from None


def _key(environment: Mapping[str, str]) -> str:
    key = environment.get("ANTHROPIC_API_KEY", "").strip()
    if not key:
        raise ConfigError(
            "no key for the model's service",
            hint="set ANTHROPIC_API_KEY, or try it without one: --model replay:FILE",
        )
    return key
