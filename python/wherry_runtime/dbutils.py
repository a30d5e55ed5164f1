class DBUtils:
    pass
