/* layout_write.c - a plan into a folder, with all that its layout says of it. */
#include "quantize/layout.h"

bl_status bl_layout_write(const char *path, const bl_ckpt *ckpt, const bl_plan *plan,
                          const bl_folder_layout *layout, const bl_write_options *options,
                          struct bl_err *err)
{
    const bool ascend = layout->format == BL_FOLDER_ASCEND;
    bl_text config = { 0 }, description = { 0 };
    bl_folder_text text = { .keeps_quantization = bl_layout_keeps(layout, ckpt),
                            .torch_dtype = layout->torch_dtype };
    bl_status rc = bl_layout_config(&config, layout, bl_ckpt_config(ckpt), err);

    if (rc == BL_OK && ascend)
        rc = bl_layout_ascend_description(&description, plan, err);
    if (rc == BL_OK) {
        text.quantization = config.bytes; /* NULL: there is none */
        if (text.keeps_quantization)
            text.torch_dtype = NULL;
        if (ascend) {
            text.side_name = BL_ASCEND_DESCRIPTION;
            text.side_text = description.bytes;
        }
        rc = bl_write_folder(path, ckpt, plan, &text, options, err);
    }
    bl_text_release(&config);
    bl_text_release(&description);
    return rc;
}
