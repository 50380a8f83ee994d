PLACE, DOCUMENT, FORMAT, SET = "truth/around", "views.json", 1, "all-around"
