"""Any OpenAI-compatible server as a sampler: `EndpointSampler`."""

from ponder.sampling.endpoint.reply import Prices, Reply, Usage
from ponder.sampling.endpoint.sampler import EndpointSampler

__all__ = ["EndpointSampler", "Prices", "Reply", "Usage"]
