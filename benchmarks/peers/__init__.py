"""The other side of the comparisons: peers at their defaults and at their best, each a process of its own."""
