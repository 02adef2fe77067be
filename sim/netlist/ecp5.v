// Simulation models of the ECP5 blocks for which Yosys has none, as far as `synth_ecp5` makes use of them, from
// Lattice's FPGA-TN-02204 (memory) and FPGA-TN-02205 (sysDSP). A parameter that a model does not know stops the
// compilation, with the name of a module that there is not; a pin that it does not know inverts what it puts out.

// Block RAM of 2048 bytes of 9 bits: port A writes, port B reads, without an output register. An address counts bits,
// as if bytes had eight: a word of 4 bits is at AD[13:2], one of 9 at AD[13:3], one of 36 at AD[13:5]. The lowest bits
// of the address enable the bytes that a word of 18 or 36 bits writes; 36 bits take the data pins of both ports.
//
// A byte that is read in the cycle in which it is written reads as the inverse of its old contents, because nothing is
// promised for two ports.
module DP16KD (
    input
        CLKA, CEA, OCEA, WEA, RSTA, CLKB, CEB, OCEB, WEB, RSTB, CSA2, CSA1, CSA0, CSB2, CSB1, CSB0,
        ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
        ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
        DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2,
        DIA1, DIA0,
        DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2,
        DIB1, DIB0,
    output
        DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2,
        DOA1, DOA0,
        DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2,
        DOB1, DOB0
);
    parameter integer DATA_WIDTH_A = 18, DATA_WIDTH_B = 18;
    parameter REGMODE_A = "NOREG", REGMODE_B = "NOREG", CSDECODE_A = "0b000", CSDECODE_B = "0b000";
    parameter CLKAMUX = "CLKA", CLKBMUX = "CLKB";
    // Of what is not modelled: the output of port A, resets, and the global one, which does not come.
    parameter WRITEMODE_A = "NORMAL", WRITEMODE_B = "NORMAL";
    parameter RESETMODE = "SYNC", ASYNC_RESET_RELEASE = "SYNC", GSR = "ENABLED";
    parameter [319:0]
        INITVAL_00 = 0, INITVAL_01 = 0, INITVAL_02 = 0, INITVAL_03 = 0, INITVAL_04 = 0, INITVAL_05 = 0,
        INITVAL_06 = 0, INITVAL_07 = 0, INITVAL_08 = 0, INITVAL_09 = 0, INITVAL_0A = 0, INITVAL_0B = 0,
        INITVAL_0C = 0, INITVAL_0D = 0, INITVAL_0E = 0, INITVAL_0F = 0, INITVAL_10 = 0, INITVAL_11 = 0,
        INITVAL_12 = 0, INITVAL_13 = 0, INITVAL_14 = 0, INITVAL_15 = 0, INITVAL_16 = 0, INITVAL_17 = 0,
        INITVAL_18 = 0, INITVAL_19 = 0, INITVAL_1A = 0, INITVAL_1B = 0, INITVAL_1C = 0, INITVAL_1D = 0,
        INITVAL_1E = 0, INITVAL_1F = 0, INITVAL_20 = 0, INITVAL_21 = 0, INITVAL_22 = 0, INITVAL_23 = 0,
        INITVAL_24 = 0, INITVAL_25 = 0, INITVAL_26 = 0, INITVAL_27 = 0, INITVAL_28 = 0, INITVAL_29 = 0,
        INITVAL_2A = 0, INITVAL_2B = 0, INITVAL_2C = 0, INITVAL_2D = 0, INITVAL_2E = 0, INITVAL_2F = 0,
        INITVAL_30 = 0, INITVAL_31 = 0, INITVAL_32 = 0, INITVAL_33 = 0, INITVAL_34 = 0, INITVAL_35 = 0,
        INITVAL_36 = 0, INITVAL_37 = 0, INITVAL_38 = 0, INITVAL_39 = 0, INITVAL_3A = 0, INITVAL_3B = 0,
        INITVAL_3C = 0, INITVAL_3D = 0, INITVAL_3E = 0, INITVAL_3F = 0;
    localparam [64*320-1:0] INIT = {
        INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A, INITVAL_39, INITVAL_38, INITVAL_37,
        INITVAL_36, INITVAL_35, INITVAL_34, INITVAL_33, INITVAL_32, INITVAL_31, INITVAL_30, INITVAL_2F, INITVAL_2E,
        INITVAL_2D, INITVAL_2C, INITVAL_2B, INITVAL_2A, INITVAL_29, INITVAL_28, INITVAL_27, INITVAL_26, INITVAL_25,
        INITVAL_24, INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20, INITVAL_1F, INITVAL_1E, INITVAL_1D, INITVAL_1C,
        INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18, INITVAL_17, INITVAL_16, INITVAL_15, INITVAL_14, INITVAL_13,
        INITVAL_12, INITVAL_11, INITVAL_10, INITVAL_0F, INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A,
        INITVAL_09, INITVAL_08, INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04, INITVAL_03, INITVAL_02, INITVAL_01,
        INITVAL_00};

    function automatic integer shift(input integer width); // bits of an address below a word
        case (width)
            1: shift = 0;
            2: shift = 1;
            4: shift = 2;
            9: shift = 3;
            18: shift = 4;
            36: shift = 5;
            default: shift = -1;
        endcase
    endfunction
    localparam integer SHIFT_A = shift(DATA_WIDTH_A), SHIFT_B = shift(DATA_WIDTH_B);
    localparam integer COMMON = SHIFT_A > SHIFT_B ? SHIFT_A : SHIFT_B; // bits below the larger word
    localparam integer BYTES_A = SHIFT_A > 3 ? 1 << SHIFT_A - 3 : 1, BYTES_B = SHIFT_B > 3 ? 1 << SHIFT_B - 3 : 1;
    localparam integer BITS_A = DATA_WIDTH_A < 9 ? DATA_WIDTH_A : 9; // of a byte

    generate
        if (SHIFT_A < 0 || SHIFT_B < 0) DATA_WIDTH_must_be_1_2_4_9_18_or_36 error();
        if (REGMODE_A != "NOREG" || REGMODE_B != "NOREG") REGMODE_must_be_NOREG error();
        if (CSDECODE_A != "0b000" || CSDECODE_B != "0b000") CSDECODE_must_be_0b000 error();
        if (CLKAMUX != "CLKA" || CLKBMUX != "CLKB") CLKMUX_must_be_CLK error();
    endgenerate

    wire [13:0] write_address =
        {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0};
    wire [13:0] read_address =
        {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0};
    wire [35:0] data = {
        DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2,
        DIB1, DIB0, DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4,
        DIA3, DIA2, DIA1, DIA0};

    wire [10:0] write_byte = write_address[13:3] & ~(BYTES_A - 1), read_byte = read_address[13:3] & ~(BYTES_B - 1);
    wire [2:0] write_bit = SHIFT_A < 3 ? write_address[2:0] >> SHIFT_A << SHIFT_A : 0;
    wire [2:0] read_bit = SHIFT_B < 3 ? read_address[2:0] >> SHIFT_B << SHIFT_B : 0;
    wire [3:0] write = {4{CEA & WEA}} & (BYTES_A == 4 ? write_address[3:0] : BYTES_A == 2 ? write_address[1:0] : 1);
    // Whether both meet the same bits, if they meet in a byte.
    wire meet = COMMON > 2 | write_address[2:0] >> COMMON == read_address[2:0] >> COMMON;
    wire unknown = WEB | RSTA | RSTB | CSA2 | CSA1 | CSA0 | CSB2 | CSB1 | CSB0;

    reg [8:0] bytes [0:2047];
    reg [35:0] q = 0;

    initial
        for (integer i = 0; i < 1024; i = i + 1)
            {bytes[2 * i + 1], bytes[2 * i]} = INIT[320 * (i / 16) + 20 * (i % 16) +: 18];

    always @(posedge CLKA)
        for (integer i = 0; i < BYTES_A; i = i + 1)
            if (write[i]) bytes[write_byte + i][write_bit +: BITS_A] <= data[9 * i +: BITS_A];

    always @(posedge CLKB)
        if (CEB)
            for (integer i = 0; i < BYTES_B; i = i + 1)
                q[9 * i +: 9] <= bytes[read_byte + i] >> read_bit ^ {9{
                    meet & write[(read_byte + i) % BYTES_A] & (read_byte + i) / BYTES_A == write_byte / BYTES_A}};

    wire [35:0] out = {36{unknown}} ^ (DATA_WIDTH_B == 36 ? q : {q[17:0], ~q[17:0]});
    assign {
        DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2,
        DOB1, DOB0, DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4,
        DOA3, DOA2, DOA1, DOA0} = out;
endmodule

// Multiplier of 18 x 18 bits, each factor signed or not, without registers.
module MULT18X18D (
    input
        SIGNEDA, SIGNEDB, SOURCEA, SOURCEB,
        A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0,
        B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0,
        C17, C16, C15, C14, C13, C12, C11, C10, C9, C8, C7, C6, C5, C4, C3, C2, C1, C0,
    output
        P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17, P16, P15,
        P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
);
    parameter REG_INPUTA_CLK = "NONE", REG_INPUTB_CLK = "NONE", REG_INPUTC_CLK = "NONE";
    parameter REG_PIPELINE_CLK = "NONE", REG_OUTPUT_CLK = "NONE", MULT_BYPASS = "DISABLED";
    generate
        if (REG_INPUTA_CLK != "NONE" || REG_INPUTB_CLK != "NONE" || REG_INPUTC_CLK != "NONE" ||
            REG_PIPELINE_CLK != "NONE" || REG_OUTPUT_CLK != "NONE") REG_CLK_must_be_NONE error();
        if (MULT_BYPASS != "DISABLED") MULT_BYPASS_must_be_DISABLED error();
    endgenerate

    wire signed [18:0] a = {
        SIGNEDA & A17, A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0};
    wire signed [18:0] b = {
        SIGNEDB & B17, B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0};
    wire signed [37:0] product = a * b;
    assign {
        P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17, P16, P15,
        P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0} = {36{SOURCEA | SOURCEB}} ^ product[35:0];
endmodule
