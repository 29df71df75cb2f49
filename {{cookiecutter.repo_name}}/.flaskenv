FLASK_APP=main.py:init_app()
