"""Statistics of a set on a Ray cluster: who does a shard, who gets which, and what is finished."""
