echo from the web
