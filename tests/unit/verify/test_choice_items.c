/*
 * Every file of tests/corpus/choice_items gets the verdict that its name begins with, and a
 * sentence that names file and line; what a good file holds is what comes out.
 */
#include "base/alloc.h"
#include "verify/choice_items.h"
#include "tests/unit/corpus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define FOLDER "corpus/choice_items/"

static void check_file(const char *name, const char *said)
{
    const bl_status wanted = strncmp(name, "good-", 5) == 0 ? BL_OK : BL_E_FORMAT;
    const int64_t live = bl_alloc_live();
    struct bl_err err = { 0 };
    bl_choice_items items = { 0 };
    char path[300];
    bl_status rc;

    snprintf(path, sizeof(path), FOLDER "%s", name);
    rc = bl_choice_items_open(&items, path, &err);
    if (rc != wanted)
        fail_msg("%s: status %d, '%s'", name, (int)rc, err.text);
    if (rc != BL_OK &&
        (err.status != rc || strncmp(err.text, path, strlen(path)) != 0 || !strstr(err.text, said)))
        fail_msg("%s: '%s' does not say '%s'", name, err.text, said);
    assert_true(rc == BL_OK ? items.n_items > 0 : items.item == NULL);
    bl_choice_items_release(&items);
    assert_int_equal(bl_alloc_live(), live);
}

static void gives_every_file_of_the_corpus_its_verdict(void **state)
{
    (void)state;
    assert_true(corpus_for_each(FOLDER "expected.tsv", check_file) > 40);
}

static const char three[] =
    "{\"id\": \"x\", \"prompt\": \"p\", \"choices\": [\"a\", \"bc\"], \"answer\": 1}\n"
    "\n"
    "{\"answer\": 2, \"group\": \"g\", \"prompt\": \"q\\n\", \"choices\": [\"d\", \"e\", \"f\"]}\n"
    "{\"group\": \"h\", \"prompt\": \"\", \"choices\": [\"d\", \"d\"], \"answer\": 0}\n"
    "{\"group\": \"g\", \"prompt\": \"\", \"choices\": [\"d\", \"e\"], \"answer\": 0}\n";

static void items_are_what_the_file_says(void **state)
{
    bl_choice_items items = { 0 };

    (void)state;
    assert_int_equal(bl_choice_items_parse(&items, "three", three, strlen(three), NULL), BL_OK);
    assert_string_equal(items.name, "three");
    assert_int_equal(items.n_items, 4);
    assert_int_equal(items.n_choices, 9);
    assert_string_equal(items.item[0].id, "x");
    assert_string_equal(items.item[0].prompt, "p");
    assert_string_equal(items.item[0].choice[1], "bc");
    assert_int_equal(items.item[0].answer, 1);
    assert_int_equal(items.item[0].group, -1);
    assert_null(items.item[1].id);
    assert_string_equal(items.item[1].prompt, "q\n");
    assert_int_equal(items.item[1].n_choices, 3);
    assert_int_equal(items.item[1].first, 2);
    assert_int_equal(items.item[1].line, 3);
    assert_int_equal(items.item[3].first, 7);
    assert_int_equal(items.n_groups, 2);
    assert_string_equal(items.group[0], "g");
    assert_string_equal(items.group[1], "h");
    assert_int_equal(items.item[1].group, 0);
    assert_int_equal(items.item[2].group, 1);
    assert_int_equal(items.item[3].group, 0);
    bl_choice_items_release(&items);
}

static void memory_that_fails_is_a_status(void **state)
{
    int64_t live = bl_alloc_live();
    bl_status rc = BL_E_NOMEM;

    (void)state;
    for (uint64_t k = 1; rc != BL_OK; k++) {
        bl_choice_items items = { 0 };

        bl_alloc_fail_at(k);
        rc = bl_choice_items_parse(&items, "three", three, strlen(three), NULL);
        bl_alloc_fail_at(0);
        bl_choice_items_release(&items);
        assert_int_equal(bl_alloc_live(), live);
        assert_true(rc == BL_OK || rc == BL_E_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_every_file_of_the_corpus_its_verdict),
        cmocka_unit_test(items_are_what_the_file_says),
        cmocka_unit_test(memory_that_fails_is_a_status),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
