"""Backups that prove themselves: made, verified, restored, thinned out and tried on a schedule."""
