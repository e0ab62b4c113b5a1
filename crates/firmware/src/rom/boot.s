# Option ROM that boots a kernel handed over by the firmware configuration device.
#
# The firmware finds a boot entry vector in the Plug and Play header and calls it in real mode. It copies up to four
# pieces (address, size, data by their keys) by DMA, then jumps: to the real-mode part of a Linux kernel, or, when an
# entry address is set, there in flat 32-bit protected mode with eax = the multiboot magic and ebx = the address of
# the setup piece.
#
# Scratch memory: 0x7c00 DMA request, 0x7c20 a number that was read, 0x7c30 the descriptor table's register.
        .code16
        .intel_syntax noprefix
start:
        .byte   0x55, 0xaa, 1           # one block of 512 bytes
        retf                            # nothing to initialise
        .org    0x1a
        .word   pnp
        .org    0x20
pnp:
        .ascii  "$PnP"
        .byte   1, 2                    # revision, length in 16 bytes
        .word   0                       # no further header
        .byte   0, 0                    # reserved, checksum (filled in later)
        .long   0                       # device id
        .word   maker, product
        .byte   0, 0, 0, 0              # type, indicators
        .word   0, 0                    # no boot connection vector, no disconnect vector
        .word   boot                    # boot entry vector
        .word   0, 0
maker:
        .asciz  "House"
product:
        .asciz  "Linux loader"
pieces:
        .byte   0x16, 0x17, 0x18        # setup: address, size, data
        .byte   0x13, 0x14, 0x15        # command line
        .byte   0x07, 0x08, 0x11        # kernel
        .byte   0x0a, 0x0b, 0x12        # initial RAM disk
        .byte   0
        .balign 8
table:
        .quad   0
        .quad   0x00cf9b000000ffff      # 8: code, flat
        .quad   0x00cf93000000ffff      # 16: data, flat

boot:
        cli
        cld
        xor     eax, eax
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     sp, 0x7c00
        mov     si, offset pieces
next:
        movzx   eax, byte ptr cs:[si]
        test    al, al
        jz      leave_rom
        call    number
        mov     ebx, eax                # address
        movzx   eax, byte ptr cs:[si + 1]
        call    number
        mov     ecx, eax                # size
        movzx   eax, byte ptr cs:[si + 2]
        add     si, 3
        jecxz   next
        mov     edi, ebx
        call    dma
        jmp     next

leave_rom:
        mov     eax, 0x16
        call    number
        mov     ebx, eax                # address of the setup piece
        mov     eax, 0x10
        call    number
        test    eax, eax
        jnz     protected
        mov     eax, 0x13
        call    number                  # the stack ends below the command line
        sub     eax, ebx
        sub     eax, 16
        shr     ebx, 4
        mov     ds, bx
        mov     es, bx
        mov     fs, bx
        mov     gs, bx
        mov     ss, bx
        mov     esp, eax
        add     bx, 0x20
        push    bx
        push    0
        retf

protected:
        mov     ebp, eax
        xor     eax, eax
        mov     ax, cs
        shl     eax, 4
        mov     edx, eax
        add     eax, offset table
        mov     word ptr [0x7c30], 23
        mov     dword ptr [0x7c32], eax
        lgdt    [0x7c30]
        add     edx, offset wide
        mov     eax, cr0
        or      al, 1
        mov     cr0, eax
        push    dword ptr 8
        push    edx
        data32 retf

# The number behind key eax, in eax.
number:
        mov     ecx, 4
        mov     edi, 0x7c20
        call    dma
        mov     eax, dword ptr [0x7c20]
        ret

# Reads ecx bytes of the item with key eax to address edi.
dma:
        shl     eax, 16
        mov     al, 0x0a                # select and read
        bswap   eax
        mov     dword ptr [0x7c00], eax
        bswap   ecx
        mov     dword ptr [0x7c04], ecx
        mov     dword ptr [0x7c08], 0
        bswap   edi
        mov     dword ptr [0x7c0c], edi
        mov     eax, 0x007c0000         # 0x7c00, big-endian
        mov     dx, 0x518
        out     dx, eax
busy:
        test    dword ptr [0x7c00], 0xfeffffff
        jnz     busy
        ret

        .code32
wide:
        mov     ax, 16
        mov     ds, ax
        mov     es, ax
        mov     fs, ax
        mov     gs, ax
        mov     ss, ax
        mov     eax, 0x2badb002
        jmp     ebp
