"""Notifications by e-mail and Slack, with an outbox for messages that could not be delivered."""
