"""The Plan screen's state, without a screen: fields, what is typed into them, and what that asks of the planner. No Textual."""
