"""How alike two layers' representations are: singular vector canonical correlation (report 003)."""
