/* convert_archive.c - a folder as one .bln, and back: byte for byte. */
#include "cli/convert_run.h"

#include "convert/archive.h"

#include <string.h>
#include <sys/stat.h>

/* What the archive costs beside what it holds. */
static bl_status print_sizes(const char *output, const bl_container *container, bool store,
                             struct bl_err *err)
{
    const uint64_t source = bl_archive_bytes(container);
    bl_text out = { 0 };
    char a[32], b[32];
    struct stat st;
    bl_status rc;

    bl_text_put_name(&out, output);
    if (!store)
        bl_text_printf(&out, ": %zu tensors, %s, and %zu side files, byte for byte\n",
                       container->n_stored, bl_text_bytes(a, source), container->n_side_files);
    else if (stat(output, &st) == 0)
        bl_text_printf(&out, ": %zu tensors, %s, in %s (%.2f %%)\n", container->n_stored,
                       bl_text_bytes(a, source), bl_text_bytes(b, (uint64_t)st.st_size),
                       100.0 * (double)st.st_size / (double)(source ? source : 1));
    rc = bl_cli_print(&out, err);
    bl_text_release(&out);
    return rc;
}

bl_status bl_convert_archive(const bl_convert_options *o, const bl_ckpt *ckpt, bool store,
                             struct bl_err *err)
{
    const bl_container *container = bl_ckpt_container(ckpt);
    double resumed = 0;
    bl_archive_options options = { .n_threads = (int)o->common.n_threads,
                                   .force = o->common.force,
                                   .resume = o->common.resume,
                                   .resumed = &resumed,
                                   .style = strcmp(o->codec, "zlib") == 0 ? BL_BLN_PORTABLE
                                                                          : BL_BLN_BEST };
    bl_status rc;

    if (o->common.dry_run)
        return bl_fail(err, BL_E_USAGE, "--dry-run is for outputs with another encoding");
    options.progress = bl_progress_new("convert", bl_archive_bytes(container), o->common.progress);
    rc = (store ? bl_archive_store : bl_archive_restore)(container, o->output, &options, err);
    bl_progress_free(options.progress);
    bl_cli_say_resumed(o->command, &o->common, resumed);
    return rc == BL_OK ? print_sizes(o->output, container, store, err) : rc;
}
